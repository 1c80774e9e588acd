"""The compiled CPU backend of `flux4d.rasterize`. Nothing here is public."""
