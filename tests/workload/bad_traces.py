# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces at the corners of the format, for both of its readers."""

from __future__ import annotations

HEAD = "frame-trace 1\nrate 60\n"
TAIL = "frame 0\nend\n"

GOOD = (
    HEAD
    + "create 1 256\nmap 1\nframe 0 1%\ntouch 1 w 0+16/16\nevict 1\nframe 1 100%\nunmap 1\nfree 1\nend\n",
    HEAD + TAIL,
    "frame-trace 1\n# a comment before the rate\n\nrate 1000\n" + TAIL + "# and behind the end\n\n",
    HEAD + "create 4096 262144 vram\nmap 4096 1\ntouch 4096 r 0\n" + TAIL,
    HEAD + "create 1 8 system\ncreate 2 8\nfree 1\ncreate 1 9\nmap 1 9\ntouch 1 w 8\n" + TAIL,
    HEAD + "create 1 100\nmap 1\ntouch 1 r 1+2/98\ntouch 1 w 0+1/200\n" + TAIL,
    HEAD + "#" + "x" * 199 + "\n" + TAIL,
)

BAD = (
    ("", 0, "cut"),
    ("frame-trace 1", 0, "cut"),
    (HEAD + "frame 0\n", 0, "cut"),
    (HEAD + "# \0\n" + TAIL, 0, "NUL"),
    ("frame-trace 2\n" + TAIL, 1, "first line"),
    ("\nframe-trace 1\n", 1, "first line"),
    ("frame-trace 1\r\nrate 60\r\n", 1, "first line"),
    ("frame-trace 1\n" + TAIL, 2, "rate"),
    (HEAD + "rate 60\n" + TAIL, 3, "second rate"),
    ("frame-trace 1\nrate 0\n" + TAIL, 2, "rate"),
    ("frame-trace 1\nrate 1001\n" + TAIL, 2, "rate"),
    ("frame-trace 1\nrate 060\n" + TAIL, 2, "rate"),
    ("frame-trace 1\nrate -1\n" + TAIL, 2, "rate"),
    ("frame-trace 1\nrate 99999999999999999999\n" + TAIL, 2, "rate"),
    (HEAD + "end\n", 3, "one frame"),
    (HEAD + "frame 1\nend\n", 3, "frame 0 is next"),
    (HEAD + "frame 0\nframe 2\nend\n", 4, "frame 1 is next"),
    (HEAD + "frame 0 0%\nend\n", 3, "percent"),
    (HEAD + "frame 0 101%\nend\n", 3, "percent"),
    (HEAD + "frame 0 50\nend\n", 3, "frame"),
    (HEAD + TAIL + "frame 1\n", 5, "after `end`"),
    (HEAD + "frame 0\nend \n", 4, "end"),
    (HEAD + " create 1 1\n" + TAIL, 3, "unknown word"),
    (HEAD + "destroy 1\n" + TAIL, 3, "unknown word"),
    (HEAD + "create  1 1\n" + TAIL, 3, "create"),
    (HEAD + "create 1 1 \n" + TAIL, 3, "create"),
    (HEAD + "create 1\n" + TAIL, 3, "create"),
    (HEAD + "create 0 1\n" + TAIL, 3, "BO"),
    (HEAD + "create 4097 1\n" + TAIL, 3, "BO"),
    (HEAD + "create 1 0\n" + TAIL, 3, "pages"),
    (HEAD + "create 1 262145\n" + TAIL, 3, "pages"),
    (HEAD + "create 1 1 disk\n" + TAIL, 3, "create"),
    (HEAD + "create 1 1\ncreate 1 1\n" + TAIL, 4, "already"),
    (HEAD + "map 1\n" + TAIL, 3, "no BO"),
    (HEAD + "create 1 2\nmap 1 3\n" + TAIL, 4, "pages"),
    (HEAD + "create 1 2\nmap 1\nmap 1\n" + TAIL, 5, "mapped already"),
    (HEAD + "create 1 2\ntouch 1 w 0\n" + TAIL, 4, "not mapped"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 x 0\n" + TAIL, 5, "touch"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 w\n" + TAIL, 5, "touch"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 w 2\n" + TAIL, 5, "page 2"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 w 0+3\n" + TAIL, 5, "page 2"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 w 0+0\n" + TAIL, 5, "pages"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 w 0+2/0\n" + TAIL, 5, "stride"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 w 0+262144/262144\n" + TAIL, 5, "page 68719214592"),
    (HEAD + "create 1 2\nmap 1\ntouch 1 w 999999999\n" + TAIL, 5, "page 999999999"),
    (HEAD + "create 1 2\nmap 1 1\ntouch 1 w 1\n" + TAIL, 5, "page 1"),
    (HEAD + "create 1 2\nunmap 1\n" + TAIL, 4, "not mapped"),
    (HEAD + "create 1 2\nmap 1\nfree 1\n" + TAIL, 5, "still mapped"),
    (HEAD + "create 1 2\nfree 1\nevict 1\n" + TAIL, 5, "no BO"),
    (HEAD + "#" + "x" * 200 + "\n" + TAIL, 3, "longer than"),
)
"""Text, the line that is wrong (0: the whole), words that the message must hold."""
