"""What people would write instead, measured beside the rows. Not in the product."""
