"""What is wrong, or worth knowing, before anything is changed: judged here, looked up elsewhere."""
