"""A PDF's text is what its pages show: filled fields and notes with it, unseen text without, raised figures apart."""

from __future__ import annotations

import pytest

from tinsmith.corpus.readers.base import Limits, Loss, Piece, Unreadable
from tinsmith.corpus.readers.pdf import read_pdf

NOTICE = "BT /F1 12 Tf 50 700 Td (The notice period is eighty days.) Tj ET\n"
PICTURE = "q 600 0 0 800 0 0 cm BI /W 2 /H 2 /CS /G /BPC 8 ID 0a0a EI Q\n"


def pdf_of(content: str, *objects: str, page: str = "", catalog: str = "", resources: str = "") -> bytes:
    """Return a PDF of one page; `objects` follow as 6 0 R and on."""
    whole = [
        f"<</Type/Catalog/Pages 2 0 R{catalog}>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R"
        f"/Resources<</Font<</F1 5 0 R>>{resources}>>{page}>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *objects,
    ]
    body = "".join(f"{number} 0 obj\n{content}\nendobj\n" for number, content in enumerate(whole, 1))
    # Without a table of its objects, pdfium looks for them.
    return f"%PDF-1.7\n{body}trailer<</Size {len(whole) + 1}/Root 1 0 R>>\n%%EOF\n".encode("latin-1")


def line(text: str, before: str = "", x: int = 50, y: int = 600, size: float = 12) -> str:
    return f"q {before} BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET Q\n"


def read(data: bytes) -> tuple[str, dict[str, tuple[str, str, int]]]:
    """Return the text, and the losses as part -> (reason, detail, count)."""
    piece, *lost = read_pdf(data, Limits())
    assert isinstance(piece, Piece)
    return piece.text, {
        loss.part: (loss.reason, loss.detail, loss.count) for loss in lost if isinstance(loss, Loss)
    }


# Text that nobody sees


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (line("SECRET words", "1 1 1 rg"), "color"),
        (line("SECRET words", "0.99 g"), "color"),
        (line("SECRET words", "3 Tr"), "invisible"),
        (line("SECRET words", "7 Tr"), "invisible"),
        (line("SECRET words", x=700), "page"),
        (line("SECRET words", y=-200), "page"),
        (line("SECRET words", size=0.2), "size"),
        (line("SECRET words", "0 0 20 20 re W n"), "clip"),
        ("0.2 0.3 0.4 rg 40 590 200 30 re f\n" + line("SECRET words", "0.2 0.3 0.4 rg"), "color"),
        (line("SECRET words") + "0 g 40 590 200 30 re f\n", "covered"),
        ("/OC /L0 BDC\n" + line("SECRET words") + "EMC\n", "layer"),
        (line("SECRET words", "/G0 gs"), "color"),
        (line("SECRET words", "3 Tr", y=700), "invisible"),  # over other text
    ],
)
def test_text_that_nobody_sees_is_counted_and_not_read(content: str, cause: str) -> None:
    data = pdf_of(
        NOTICE + content,
        "<</Type/OCG/Name(Layer)>>",
        catalog="/OCProperties<</OCGs[6 0 R]/D<</OFF[6 0 R]/Order[]>>>>",
        resources="/Properties<</L0 6 0 R>>/ExtGState<</G0<</ca 0>>>>",
    )
    assert read(data) == ("The notice period is eighty days.", {"text": ("hidden", cause, 1)})


@pytest.mark.parametrize(
    "content",
    [
        "0 g 40 590 200 30 re f\n" + line("SEEN words", "1 g"),
        "q 0.9 g 40 590 200 30 re f Q\n" + line("SEEN words"),
        line("SEEN words") + "40 590 200 30 re S\n",
        line("SEEN words", "1 Tr 1 g 0 G"),
        line("SEEN words", "0 0 600 800 re W n"),
        line("SEEN words") + "/G0 gs 1 1 0 rg 40 590 200 30 re f\n",
        "/OC /L0 BDC\n" + line("SEEN words") + "EMC\n",
        PICTURE + line("SEEN words", "3 Tr"),  # the text of a scan
        PICTURE + line("SEEN words", "1 g"),
    ],
)
def test_text_that_somebody_sees_is_read(content: str) -> None:
    data = pdf_of(
        NOTICE + content,
        "<</Type/OCG/Name(Layer)>>",
        catalog="/OCProperties<</OCGs[6 0 R]/D<</Order[]>>>>",
        resources="/Properties<</L0 6 0 R>>/ExtGState<</G0<</ca 0.3>>>>",
    )
    text, lost = read(data)
    assert "SEEN words" in text
    assert "text" not in lost


def drawing(content: str, more: str = "") -> str:
    """Return a drawing that a page contains."""
    fonts = "/Resources<</Font<</F1 5 0 R>>>>"
    head = f"<</Type/XObject/Subtype/Form/BBox[0 0 600 800]{fonts}{more}/Length {len(content)}>>"
    return f"{head}stream\n{content}\nendstream"


@pytest.mark.parametrize(
    ("content", "inner", "more", "cause"),
    [
        ("", line("SECRET words"), "/OC 6 0 R", "layer"),
        ("", line("SECRET words", "1 g"), "", "color"),
        (line("SECRET words"), "0 g 40 590 200 30 re f", "", "covered"),
        (line("SEEN words"), "0.9 g 40 300 200 30 re f", "", ""),
        ("", "0 g 40 590 200 30 re f " + line("SEEN words", "1 g"), "", ""),
    ],
)
def test_drawings_within_a_page_hide_text_and_are_hidden(
    content: str, inner: str, more: str, cause: str
) -> None:
    layer = "<</Type/OCG/Name(Layer)>>"
    catalog = "/OCProperties<</OCGs[6 0 R]/D<</OFF[6 0 R]/Order[]>>>>"
    resources = "/XObject<</X0 7 0 R>>"
    page = f"{NOTICE}{content}/X0 Do\n"
    text, lost = read(pdf_of(page, layer, drawing(inner, more), catalog=catalog, resources=resources))
    assert ("SECRET" in text, "SEEN" in text) == (False, not cause)
    assert lost == ({"text": ("hidden", cause, 1)} if cause else {})


def test_a_page_of_hidden_text_is_refused_as_hidden() -> None:
    with pytest.raises(Unreadable) as refusal:
        read(pdf_of(line("SECRET words that nobody sees at all", "1 g")))
    assert refusal.value.reason == "hidden"


# Forms and notes


def form_of(*fields: str, page: str = "", more: str = "") -> bytes:
    """Return a page with a label and fields at its right."""
    label = "BT /F1 12 Tf 50 700 Td (Name of the tenant:) Tj 0 -40 Td (The parties sign below.) Tj ET"
    numbers = " ".join(f"{number} 0 R" for number in range(6, 6 + len(fields)))
    whole = [f"<</Type/Annot/Subtype/Widget{field}>>" for field in fields]
    catalog = f"/AcroForm<</Fields[{numbers}]/DA(/F1 12 Tf 0 g){more}>>"
    return pdf_of(label, *whole, page=f"/Annots[{numbers}{page}]", catalog=catalog)


RECT = "/Rect[170 696 400 712]"
LIST = "/Opt[(Flat)(House)[(b)(Boat)]]"


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (f"/FT/Tx/T(a)/V(Ada Quill){RECT}", "Ada Quill"),
        (f"/FT/Tx/T(a)/V<FEFF00C5>{RECT}", "Å"),
        (f"/FT/Tx/T(a)/Ff 4096/V(Ada\\rQuill){RECT}", "Ada Quill"),
        (f"/FT/Btn/T(a)/V/Yes/AS/Yes{RECT}/AP<</N<</Yes 5 0 R/Off 5 0 R>>>>", "[x]"),
        (f"/FT/Btn/T(a)/V/Off/AS/Off{RECT}/AP<</N<</Yes 5 0 R/Off 5 0 R>>>>", "[ ]"),
        (f"/FT/Btn/T(a)/Ff 32768/V/b/AS/b{RECT}/AP<</N<</b 5 0 R/Off 5 0 R>>>>", "[x]"),
        (f"/FT/Ch/Ff 131072/T(a)/V(House){LIST}{RECT}", "House"),
        (f"/FT/Ch/Ff 131072/T(a)/V(b){LIST}{RECT}", "Boat"),
        (f"/FT/Ch/Ff 393216/T(a)/V(Tent){LIST}{RECT}", "Tent"),
        (f"/FT/Ch/Ff 2097152/T(a)/V[(Flat)(b)]/I[0 2]{LIST}{RECT}", "Flat Boat"),
    ],
)
def test_what_a_field_shows_stands_after_its_label(field: str, shown: str) -> None:
    text, lost = read(form_of(field))
    assert " ".join(text.split()) == f"Name of the tenant: {shown} The parties sign below."
    assert lost == {}


def test_a_value_may_belong_to_the_parent_of_a_field() -> None:
    label = "BT /F1 12 Tf 50 700 Td (Name of the tenant, in full:) Tj ET"
    parent = "<</FT/Tx/T(all)/V(Ada Quill)/Kids[7 0 R]>>"
    kid = f"<</Type/Annot/Subtype/Widget/Parent 6 0 R{RECT.replace('170', '230')}>>"
    data = pdf_of(label, parent, kid, page="/Annots[7 0 R]", catalog="/AcroForm<</Fields[6 0 R]>>")
    assert read(data)[0] == "Name of the tenant, in full: Ada Quill"


def test_a_page_with_nothing_but_a_filled_field_has_text() -> None:
    field = f"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/V(Ada){RECT}>>"
    data = pdf_of("", field, page="/Annots[6 0 R]", catalog="/AcroForm<</Fields[6 0 R]>>")
    assert read(data) == ("Ada", {})
    with pytest.raises(Unreadable, match="no_text_layer"):
        read(
            pdf_of(
                "", field.replace("(Ada)", "()"), page="/Annots[6 0 R]", catalog="/AcroForm<</Fields[6 0 R]>>"
            )
        )


def test_notes_on_the_page_are_text_and_other_annotations_are_counted() -> None:
    kinds = [
        "/FreeText/Contents(By hand.)",
        "/Text/Contents(A comment)",
        "/Highlight",
        "/Stamp",
        "/Link",
        "/FileAttachment",
    ]
    rect = "/Rect[50 500 300 520]"
    notes = "".join(f"<</Type/Annot/Subtype{kind}{rect}>>" for kind in kinds)
    field = f"/FT/Tx/T(a)/V(Ada){RECT}"
    text, lost = read(form_of(field.replace("(a)", "(b)"), f"{field}/F 2", page=notes, more="/XFA[(a)5 0 R]"))
    assert " ".join(text.split()) == "Name of the tenant: Ada The parties sign below. By hand."
    assert lost == {
        "text": ("hidden", "annotation", 1),
        "comments": ("not_read", "", 1),
        "stamps": ("not_read", "", 1),
        "attached files": ("not_read", "", 1),
    } | {name: row for name, row in lost.items() if name == "XFA form"}


def test_a_form_that_only_a_program_fills_and_files_within_are_counted() -> None:
    spec = "<</Type/Filespec/F(terms.txt)/EF<</F 5 0 R>>>>"
    dynamic = "/NeedsRendering true/AcroForm<</Fields[]/XFA 5 0 R>>"
    data = pdf_of(NOTICE, spec, catalog=f"/Names<</EmbeddedFiles<</Names[(a)6 0 R]>>>>{dynamic}")
    assert read(data)[1] == {"XFA form": ("not_read", "", 1), "attached file terms.txt": ("not_read", "", 1)}


# Raised figures


def test_a_raised_figure_does_not_change_the_number_beside_it() -> None:
    def small(text: str, rise: int) -> str:
        return f"/F1 7 Tf {rise} Ts ({text}) Tj /F1 12 Tf 0 Ts "

    content = (
        f"BT /F1 12 Tf 50 700 Td (The area is 10) Tj {small('6', 5)}( units, H) Tj {small('2', -2)}(O and 3) Tj "
        f"{small('1', 4)}{small('/', 0)}{small('2', -2)}( percent of 12,345) Tj {small('1', 5)}(, on the 1) Tj "
        f"{small('st', 5)}( of x) Tj {small('2', 5)}(+y) Tj ET"
    )
    text = "The area is 10^6 units, H2O and 3 1/2 percent of 12,345^1, on the 1st of x^2+y"
    assert read(pdf_of(content)) == (text, {})
