"""The generated world: composed objects before scenes, drawn together with the labels of every pixel."""
