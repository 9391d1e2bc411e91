"""What are the encoders made of that begin with fresh weights? torch's recurrent layers, and attention written out."""
