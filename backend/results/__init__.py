"""Results: what a person gets. The folder of a head, its GLB, previews, the quality report, the page of a batch."""
