"""What runs because a stream moved."""
