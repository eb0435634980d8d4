"""One upstream call: input images, the call itself, polls, and the images that come back."""
