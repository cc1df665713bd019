"""Makes the data of a Tryton server: a company with one employee, ready for opportunities.

Run by .venv-consumers: `tryton_base.py FOLDER`; leaves `erp.sqlite` and `trytond.conf` there. Takes
half a minute of computing, so `make consumers` does it once and tests copy the result.
"""

import os
import sys
from pathlib import Path

PASSWORD = "tryton-admin-for-tests"
OWNER, OWNER_NAME = "o-1", "Ann"


def main(folder: Path) -> None:
    """Make the database anew."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "erp.sqlite").write_bytes(b"")
    (folder / "password").write_text(PASSWORD)
    conf = folder / "trytond.conf"
    conf.write_text(f"[database]\nuri = sqlite://\npath = {folder}\n")
    os.environ["TRYTONPASSFILE"] = str(folder / "password")

    from trytond.config import config

    config.update_etc(str(conf))

    from trytond.admin import run
    from trytond.commandline import get_parser_admin

    options = get_parser_admin().parse_args(
        ["-d", "erp", "--email", "admin@example.com", "-u", "sale_opportunity",
         "--activate-dependencies"]
    )  # fmt: skip
    run(options)

    from trytond.pool import Pool
    from trytond.transaction import Transaction

    with Transaction().start("erp", 1):
        pool = Pool()
        currency, party, company, employee, user = (
            pool.get(name)
            for name in (
                "currency.currency", "party.party", "company.company", "company.employee",
                "res.user",
            )
        )  # fmt: skip
        [yuan] = currency.create([{"name": "Renminbi", "code": "CNY", "symbol": "¥"}])
        ours, ann = party.create([{"name": "Example"}, {"name": OWNER_NAME, "code": OWNER}])
        [firm] = company.create([{"party": ours.id, "currency": yuan.id}])
        [worker] = employee.create([{"party": ann.id, "company": firm.id}])
        user.write(
            [user(1)],
            {
                "companies": [("add", [firm.id])],
                "company": firm.id,
                "employees": [("add", [worker.id])],
                "employee": worker.id,
            },
        )
        Transaction().commit()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
