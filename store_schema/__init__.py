"""What is stored, how it is read, hashed and verified. Needs numpy, pyarrow and zarr, never torch."""
