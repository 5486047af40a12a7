"""State heads: what a token world's frames say of joints, objects, forces and contact, with how sure they are."""
