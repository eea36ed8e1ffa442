"""The generated world: composed objects in front of scenes, drawn together with the labels of every pixel."""
