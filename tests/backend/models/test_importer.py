def test_import(shelf):
    import time

    t = time.time()
    b = shelf.import_()
    print(time.time() - t)
    print("\n".join(shelf.told))
    print(b)
    print(shelf.there())
    b.verify()
    b.generator()
    b.encoder("visible")
