"""The main job: look before the work, run, what is there of an unfinished run, the gate's own run, infer."""
