"""Learning to act in imagination: an actor and a critic inside a world model, and the check of what they gained."""
