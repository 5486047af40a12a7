"""What acts: policies that a release executes."""
