"""What people type; each file is a group of commands."""
