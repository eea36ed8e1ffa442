"""The gallery: the pictures and concepts of every unit, on a page that opens from disk."""
