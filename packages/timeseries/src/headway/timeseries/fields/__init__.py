"""Fields on grids and meshes: operators, simulators, and the equations whose solutions they learn."""
