"""Everything about the package is said in settings.ini; this file hands it to setuptools."""
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]
extras = {key.removesuffix("_requirements"): value.split() for key, value in cfg.items() if key.endswith("_requirements")}
low, high = (int(cfg[key].split(".")[1]) for key in ("min_python", "max_python"))
# README.md's links are relative; on a package index they need the repository's address
readme = (here / "README.md").read_text(encoding="utf-8")
readme = re.sub(r"\]\((?=index_files/)", f"]({cfg['git_url']}/raw/{cfg['branch']}/", readme)
readme = re.sub(r"\]\((?=nbs/)", f"]({cfg['git_url']}/blob/{cfg['branch']}/", readme)

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    project_urls={"Documentation": cfg["doc_host"] + cfg["doc_baseurl"]},
    keywords=cfg["keywords"],
    license="Apache-2.0",
    packages=find_packages(include=["cvae_nb", "cvae_nb.*"]),
    package_data={"cvae_nb": ["weights/*"]},  # the trained models of `load_pretrained`
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": cfg["console_scripts"].split(), "nbdev": [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(low, high + 1)),
    ],
    zip_safe=False,
)
