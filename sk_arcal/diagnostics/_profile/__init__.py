"""Behind the test of a whole routing profile: its columns, the joint test and the learners."""
