"""Generate: make one upstream call, with its input images, its polls and the images that it brings."""
