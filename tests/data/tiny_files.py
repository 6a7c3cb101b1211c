"""The published file formats, written small."""


def idx(array):
    """The bytes of an idx file of unsigned bytes, as its specification has them."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def cifar_batch(labels, pixels, extra=b""):
    """The bytes of a batch file as the old Python 2 of CIFAR-10's authors wrote it; ``extra`` is run when unpickled."""
    return b"".join(
        [
            b"\x80\x02}(U\x0bbatch_labelU\x04tinyU\x06labels](",
            *(b"K" + bytes([label]) for label in labels),
            b"e",
            extra,
            b"U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            b"(K\x01M" + len(labels).to_bytes(2, "little") + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T" + pixels.nbytes.to_bytes(4, "little") + pixels.tobytes(),
            b"tbU\tfilenames](eu.",
        ]
    )
