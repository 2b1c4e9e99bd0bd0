"""What runs because time passes."""
