"""Pictures and concept sets: fetched or drawn, checked, and packed."""
