"""Tables, colours, progress and errors on a screen."""
