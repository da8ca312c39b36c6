"""Star-convex polyhedra and label arrays: rays, training targets, components, suppression, rendering."""
