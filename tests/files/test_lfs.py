import pytest

from serl_ray.files.lfs import check_not_lfs_pointer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:6652\nsize 146946961\n"


def test_a_pointer_is_named_with_the_size_of_the_file_and_the_way_out():
    with pytest.raises(
        ValueError, match=r"demos\.pkl: a Git LFS pointer; its contents of 147 MB were .* Run `git lfs pull`"
    ):
        check_not_lfs_pointer("demos.pkl", POINTER)
    with pytest.raises(ValueError, match=r"a Git LFS pointer; its contents were not downloaded"):
        check_not_lfs_pointer("demos.pkl", POINTER[:50])


@pytest.mark.parametrize("first_bytes", [b"", b"PAR1", b"version 2", b"\x80\x04" + POINTER])
def test_other_files_pass(first_bytes):
    check_not_lfs_pointer("demos.pkl", first_bytes)
