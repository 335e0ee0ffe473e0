# SPDX-License-Identifier: GPL-2.0-or-later
"""A source tree whose Makefile answers to what the lab asks of kbuild, in milliseconds, and fails on request.

Real make, in the real sandbox: only the kernel is missing.
"""

from __future__ import annotations

from pathlib import Path

from lab.kernel.work_copy import SourceTree

# /src/known lists the options that there are; image and module are made from one source file each, so that
# one can see what is made again. /src/fail, if it is there, is a script that runs before the image is made;
# /obj/conf stands for the program, made by an earlier build, that computes configurations.
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 7
R := lib/modules/6.12.7

allnoconfig:
\tgrep -w -f known $(KCONFIG_ALLCONFIG) > $(O)/.config || true
\t@if [ -e $(O)/conf ]; then O=$(O) sh $(O)/conf; fi

bzImage: $(O)/arch/x86/boot/bzImage
$(O)/arch/x86/boot/bzImage: mm/memory.c $(O)/.config
\t@if [ -e fail ]; then O=$(O) sh fail; fi
\t@mkdir -p $(@D)
\t@echo "  CC      mm/memory.o"
\t@cat mm/memory.c $(O)/.config > $@

modules: $(O)/drivers/ttm.ko
$(O)/drivers/ttm.ko: drivers/ttm.c
\t@mkdir -p $(@D)
\t@echo "  CC [M]  drivers/ttm.o"
\t@cat $< > $@

modules_install:
\t@mkdir -p $(INSTALL_MOD_PATH)/$(R)/kernel
\t@cp $(O)/drivers/ttm.ko $(INSTALL_MOD_PATH)/$(R)/kernel/
\t@ln -s /etc/passwd $(INSTALL_MOD_PATH)/$(R)/build
\t@echo "kernel/ttm.ko:" > $(INSTALL_MOD_PATH)/$(R)/modules.dep
\t@touch $(INSTALL_MOD_PATH)/$(R)/modules.builtin

.PHONY: allnoconfig bzImage modules modules_install
"""
DRIVERS_KCONFIG = """\
if PCI
config DRM_FAKE
\ttristate "a driver"
\tdepends on MMU
\thelp
\t  depends on nothing that is written here
endif
"""


def fake_tree(folder: Path, identity: str = "one") -> SourceTree:
    """Write the tree below `folder`, which must not have one yet."""
    source = folder / "src"
    texts = {
        "Makefile": MAKEFILE,
        "known": "CONFIG_A\nCONFIG_B\nCONFIG_KASAN\n",
        "Kconfig": 'source "drivers/Kconfig"\nconfig HIDDEN\n\tbool\n',
        "drivers/Kconfig": DRIVERS_KCONFIG,
        "drivers/Makefile": "obj-m += ttm.o\n",
        "drivers/ttm.c": "int prefault = 16;\n",
        "mm/Makefile": "obj-y += memory.o\n",
        "mm/memory.c": "int memory;\n",
    }
    for name, text in texts.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return SourceTree(path=source, identity=identity, version="6.12.7", origin="a fake tree", commit=None)


def mbox(path: Path, file: str, before: str, after: str) -> Path:
    """A series of one patch that changes the first line of a file."""
    path.write_text(
        "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
        "From: A Developer <a@example.org>\nDate: Mon, 1 Sep 2025 00:00:00 +0000\n"
        f"Subject: [PATCH] change {file}\n\nWhy.\n---\n"
        f"diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n"
        f"@@ -1 +1 @@\n-{before}\n+{after}\n-- \n2.39\n\n"
    )
    return path
