"""LeRobot data sets, v2.1 and v3.0, read and written without LeRobot itself. Import the module you need."""
