"""What is made of the data: figures with their targets, plots, and pages."""
