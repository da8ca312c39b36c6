"""Where in the scene each voxel of a sample lies: maps of coordinates, composed before anything is evaluated."""
