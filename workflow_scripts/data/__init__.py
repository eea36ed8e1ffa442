"""Pictures and concept sets: fetching or drawing, checking and packing them."""
