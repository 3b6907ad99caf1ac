"""LeRobot data sets, v2.1 and v3.0, read and written from their format. Import the module you need."""
