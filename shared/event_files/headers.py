"""Finds the columns of a file (customer, time, amount) by the words people use in headers.

`Customer ID`, `customer_id`, 客户编号 and `Kunden-Nr.` are one column. Of two columns that could
be meant neither is chosen: Invalid names both. Values are not read.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from shared.kernel.errors import Invalid

NAMED_MAX: Final = 12
"""Columns that an error quotes: enough to see the mistake."""
REQUIRED: Final = ("customer_id", "ts")

_CUSTOMER: Final = """
customer customer_no customer_number customer_code customer_key customer_ref cust cust_id custid
cust_no client client_id client_no client_number client_code user user_id uid user_no member
member_id member_no member_number member_code membership_no account account_id account_no
account_number buyer buyer_id buyer_no shopper shopper_id household household_id household_key
consumer consumer_id card_id loyalty_id loyalty_card patron_id subscriber_id contact_id company_id
customer_reference bill_to_customer sold_to sold_to_party loyalty_number loyalty_card_number
客户 客户id 客户号 客户编号 客户编码 客户代码 顾客 顾客id 顾客编号 会员 会员id 会员号 会员编号
会员卡号 会员编码 用户 用户id 用户号 用户编号 客户代号 客户标识 客户账号 顾客号 顾客编码 顾客卡号
会员卡 会员卡编号 会员标识 会员账号 贵宾卡号
用户标识 用户账号 买家账号 买家 买家id 买家编号 买家昵称 买家会员名 账号 帐号
账户 账户id
kunde kunden kunden_id kunden_nr kunden_nummer kundennummer kundenkennung kundenkonto kundenkarte
kundenkartennummer debitor debitorennummer debitoren_nr debitorenkonto käufer kaeufer käufer_id
kaeufer_id besteller auftraggeber mitglied mitglieds_id mitglieds_nr mitgliedsnummer
"""
_TIME: Final = """
date time timestamp datetime date_time event_time event_date event_ts event_timestamp occurred_at
happened_at order_date order_time order_datetime order_timestamp order_purchase_timestamp created
created_at created_on create_time creation_date created_date purchase_date purchase_time
purchased_at purchase_timestamp invoice_date invoice_time transaction_date transaction_time
transaction_timestamp trans_date txn_date sale_date sales_date sold_at paid_at payment_date
pay_time payment_time bought_at posting_date day when 日期 时间 日期时间 下单时间 下单日期
订单时间 订单日期 订单创建时间 创建时间 创建日期 付款时间 订单付款时间 支付时间 支付日期 购买时间
购买日期 交易时间 交易日期 成交时间 消费时间 消费日期 销售日期 开票日期 发生时间 事件时间 销售时间
开单时间 开单日期 单据日期 单据时间
业务日期 记账日期 记账时间 成交日期 付款日期 购物时间 购物日期 提交时间 订单提交时间 支付完成时间
订单成交时间 到店时间 到店日期 结账时间
datum zeit zeitpunkt zeitstempel datum_uhrzeit bestelldatum bestellzeit bestellzeitpunkt bestellt_am
auftragsdatum kaufdatum gekauft_am rechnungsdatum belegdatum buchungsdatum verkaufsdatum
transaktionsdatum zahlungsdatum bezahlt_am erstellt erstellt_am erstelldatum
"""
_TYPE: Final = """
type event kind event_name event_kind transaction_type order_type action activity activity_type
类型 事件 事件类型 事件名称 交易类型 订单类型 业务类型 行为类型 行为 单据类型 操作类型
typ ereignis ereignisart ereignistyp vorgang vorgangsart belegart auftragsart bestellart buchungsart
transaktionsart aktivität aktivitaet
"""
_EVENT: Final = """
order_id order order_no order_number order_code invoice invoice_id invoice_no invoice_number
transaction transaction_id transaction_no transaction_number trans_id txn txn_id receipt
receipt_id receipt_no receipt_number basket basket_id ticket_id document_no purchase_id sale_id
sales_id 订单号 订单 订单id 订单编号 订单编码 单号 交易号 交易id 交易编号 交易单号 流水号 事件id
事件编号 发票号 小票号 销售单号 主订单编号 商户订单号 交易流水号 流水单号 流水编号 小票编号
销售单编号 单据号 单据编号 凭证号 发票号码 订单流水号
bestellung bestell_id bestell_nr bestellnummer auftrag auftrags_id auftrags_nr auftragsnummer
rechnung rechnungs_nr rechnungsnummer beleg beleg_nr belegnummer bon bon_nr bonnummer kassenbon
transaktions_id transaktions_nr transaktionsnummer vorgangs_nr vorgangsnummer ereignis_id
"""
_AMOUNT: Final = """
total amt total_amount amount_total order_amount order_total order_value grand_total total_price
total_value total_sales total_spent revenue net_revenue sales sales_amount sales_value sale_amount
net_amount net_sales net_total turnover spend spent spending amount_paid paid_amount paid payment
payment_value payment_amount invoice_amount invoice_total transaction_amount transaction_value
purchase_amount purchase_value gross gross_amount line_total monetary 金额 总额 总金额 总价
实付金额 实付款 实付 支付金额 付款金额 订单金额 订单总额 订单总金额 成交金额 交易金额 消费金额
销售额 销售金额 实收金额 应付金额 买家实际支付金额 实付总额 订单实付金额 商品金额 商品总价 交易额
消费额 总消费金额 合计金额 应收金额 价税合计 总计 实收 金额合计 付款总额 订单实付
betrag gesamtbetrag gesamtsumme gesamtpreis endbetrag rechnungsbetrag rechnungssumme bestellwert
bestellsumme auftragswert warenwert warenkorbwert kaufbetrag zahlbetrag nettobetrag bruttobetrag
umsatz nettoumsatz bruttoumsatz
"""

STRONG: Final[Mapping[str, str]] = {
    "customer_id": _CUSTOMER,
    "ts": _TIME,
    "event_type": _TYPE,
    "event_id": _EVENT,
    "amount": _AMOUNT,
    "quantity": "qty quantity_sold quantity_ordered units units_sold order_quantity item_count "
    "数量 件数 购买数量 商品数量 销售数量 订购数量 购买件数 商品件数 销量 "
    "menge anzahl stück stueck stückzahl stueckzahl bestellmenge verkaufsmenge",
    "unit_price": "unitprice price_per_unit unit_cost price_each item_price 单价 商品单价 销售单价 "
    "einzelpreis stückpreis stueckpreis",
    "currency": "currency_code currency_iso ccy 币种 货币 币别 货币类型 货币代码 结算币种 "
    "währung waehrung währungscode waehrungscode",
    "category": "product_category item_category department 类别 品类 商品类别 商品分类 类目 "
    "商品类目 一级类目 产品类别 kategorie warengruppe artikelgruppe produktgruppe "
    "produktkategorie artikelkategorie",
    "score": "rating survey_score satisfaction nps stars 评分 得分 满意度 打分 星级 "
    "bewertung zufriedenheit sterne",
    "points": "loyalty_points point_count 积分 积分数 积分数量 积分值 变动积分 "
    "punkte treuepunkte bonuspunkte",
    "points_balance": "balance balance_points remaining_points 积分余额 剩余积分 可用积分 当前积分 "
    "punktestand punktesaldo",
    "points_expire_on": "expires_on expiry_date expiration_date expire_date expires 到期日 "
    "到期日期 积分到期日 失效日期 有效期至 ablaufdatum verfallsdatum gültig_bis gueltig_bis",
}
"""Words that name the column plainly; where two columns match, Invalid names both."""
WEAK: Final[Mapping[str, str]] = {
    "customer_id": "customer_name customer_email email e_mail phone mobile phone_number openid "
    "unionid card_no card_number 手机 手机号 手机号码 客户名称 客户姓名 客户名 会员名 用户名 卡号 "
    "kundenname telefon telefonnummer e_mail_adresse",
    "event_id": "id uuid 编号 子订单编号",
    "amount": "price net value sum 价格 价值 合计 preis wert summe",
    "unit_price": "price 价格 preis",
}
"""Words that are used where no plain word matches."""
ROLES: Final = tuple(STRONG)
POINTS: Final = ("points", "points_balance", "points_expire_on")
"""Columns of loyalty events; looked for where the file has a column of event types."""


def plain(header: str) -> str:
    """Return a header without case, width, spaces, marks and a final part in brackets.

    >>> plain("Customer ID"), plain("customer-id"), plain("实付金额（元）")
    ('customerid', 'customerid', '实付金额')
    """
    text = unicodedata.normalize("NFKC", header).casefold().strip("\ufeff\u200b \t")
    return re.sub(r"[\s_\-./#:*]+", "", re.sub(r"(?<=.)[(\[【].*$", "", text))


def _words(table: Mapping[str, str]) -> dict[str, frozenset[str]]:
    return {name: frozenset(map(plain, words.split())) for name, words in table.items()}


_STRONG, _WEAK = _words(STRONG), _words(WEAK)


def columns_of(headers: Sequence[str], file: str, given: Mapping[str, str]) -> dict[str, str]:
    """Map role to header, for each role that has a column in the file.

    `given` settles roles by hand. Raises Invalid naming the role: two columns that could be it,
    none where one is required, a header or a role that does not exist.
    """
    twice = sorted({name for name in headers if list(headers).count(name) > 1})
    if twice:
        raise Invalid("events", f"{file} has two columns {twice[0]!r}: rename one")
    found = {role: _given(role, header, headers) for role, header in given.items()}

    def look(role: str, *tables: Mapping[str, frozenset[str]]) -> None:
        for words in ({role: frozenset({plain(role)})}, *tables):
            if role in found:
                return
            taken = set(found.values())
            fits = [h for h in headers if h not in taken and plain(h) in words.get(role, ())]
            if len(fits) > 1:
                both = " and ".join(map(repr, fits[:2]))
                raise Invalid(
                    role, f"{both} could both be it: choose with --column {role}={_quoted(fits[0])}"
                )
            if fits:
                found[role] = fits[0]

    for role in ("customer_id", "ts", "event_type", "event_id"):
        look(role, _STRONG, _WEAK)
    _look_for_amount(look, found)
    for role in ("currency", "category", "score", *(POINTS if "event_type" in found else ())):
        look(role, _STRONG)
    missing = [role for role in REQUIRED if role not in found]
    if missing:
        options = " ".join(f"--column {role}=HEADER" for role in missing)
        raise Invalid(
            missing[0],
            f"column missing in {file}; it has {named(headers)}. Name it with {options}",
        )
    return found


def _look_for_amount(look: Callable[..., None], found: dict[str, str]) -> None:
    """Find an amount, else a quantity and a unit price: `price` may mean either."""
    look("amount", _STRONG)
    if "amount" in found:
        return
    look("quantity", _STRONG)
    if "quantity" in found:
        look("unit_price", _STRONG, _WEAK)
    if "unit_price" not in found:
        found.pop("quantity", None)
        look("amount", _WEAK)


def _given(role: str, header: str, headers: Sequence[str]) -> str:
    if role not in ROLES:
        raise Invalid("--column", f"{role!r} is none of {', '.join(ROLES)}")
    if header in headers:
        return header
    fits = [name for name in headers if plain(name) == plain(header)]
    if len(fits) != 1:
        raise Invalid("--column", f"{role}={header}: the file has {named(headers)}")
    return fits[0]


def named(words: Sequence[str]) -> str:
    """Join words by commas, shortened where there are too many to read."""
    return ", ".join(words[:NAMED_MAX]) + (", …" if len(words) > NAMED_MAX else "")


def _quoted(header: str) -> str:
    return f'"{header}"' if re.search(r"\W", header) else header
