"""What rules decide, purely: values and functions over them."""
