"""What the models' user has on disk: directories, environment files, room."""
