"""What people look at: galleries, thumbnails, one sample."""
