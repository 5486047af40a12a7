"""Pages for people at the cell and in the office: served from here alone, each with no logic of its own."""
