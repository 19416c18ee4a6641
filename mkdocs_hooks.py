"""Turns links of the pages that lead out of docs/ into links to the repository, and warns of dead ones.

The pages are read on the repository's site too, where such links are relative to the file.
"""
import logging
import pathlib
import re

OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)")
log = logging.getLogger("mkdocs.hooks")


def on_page_markdown(markdown, page, config, **kwargs):
    root = pathlib.Path(config["config_file_path"]).parent

    def to_repository(link):
        path, anchor = link.group(1), link.group(2) or ""
        if not (root / path).exists():
            log.warning("Doc file '%s' contains a link '../%s', but there is no such file", page.file.src_path, path)
        return f"]({config['repo_url'].rstrip('/')}/blob/main/{path}{anchor})"

    return OUTSIDE.sub(to_repository, markdown)
