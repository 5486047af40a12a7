"""Search: episode facts by SQL, text over tasks, captions and notes, and clips that look or move like an example."""
