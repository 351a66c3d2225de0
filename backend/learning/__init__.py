"""How models are trained: the loop that every training runs in, and the trainings. Above the training's data."""
