"""What people look at: grids, charts, movies and the page of a comparison."""
