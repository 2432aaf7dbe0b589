"""Names of folders that say which split of a data set they hold, in lower case."""

TRAIN_FOLDERS: tuple[str, ...] = ("train", "training")
VAL_FOLDERS: tuple[str, ...] = ("val", "valid", "validation")
TEST_FOLDERS: tuple[str, ...] = ("test", "testing")
HELD_OUT_FOLDERS = (*VAL_FOLDERS, *TEST_FOLDERS)
