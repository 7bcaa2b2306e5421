"""Pictures: a tiny file of each format, really decoded; a portrait whose face is really found."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib.util import find_spec

from annotate.doctor.findings import Finding, again, fault, note, ok
from annotate.doctor.isolation import Check, Options
from annotate.errors import AnnotateError, one_line

COLOUR = (200, 100, 50)
TOLERANCE = 12
"""Each picture below shows this RGB colour alone; codecs that lose something may miss it by so many
levels."""

_FILES = {
    "JPEG": (
        "|JeWF01!$>Nk#wx0RR9200961|JwjV00RO70|EjA0|NsD0|NvF2n7WM1O*BQ2L=cX3JeSj3JVJj4iXRz4iOFu3lJ"
        "6%5fc;@6%`B*7Z?^47!ni}6#v@*LjeN>1O)^I2?YfS6b%av6ciK`6ciK`6ciK`6ciK`6ciK`6ciK`6ciK`6ciK`6"
        "ciK`6ciK`6ciK`6ciK`6cqo!01*fP5C9MZ0U`hb5di}c0sq7R9{>OW1pxs80RaI300000000010s{mE1_uZU3Jd?"
        "l0JRVR0s#X90t5pE1q1{D00Dgg0s{a95d{(<F+m0sQDFxnaTGFvk)a49Lb1UWQqk}vGh%Xr2?`b$7#SKRCMPH<Dl"
        "|1VH#j*uLqtVJM@UIZQ&d$}S6EqEV`OD!XJ~0^b98lfcX)YvgM@{Khlq)al9QB`mY0~BnxdnmrKYE-sj9NGw6(Uk"
        "xVgH*!^FkL$H>Xb($mz{*4NnC+Tr5k<mKk)=;`Y5^7Hid_V@Vt`v1fL9{~UZ0RaI40RaI40RR91000010s{mE1_u"
        "ZU3Jd?l0JRYS0s#U91Oo&I1q1{D0Rndb0RjUN1O*{61`<J02Vrp&A~Jyp6he`qvB3!=Gg9ysVsg<679=#`CGi&+8"
        "5$-hC@Cs6Ha9pqIzvQ7Mn_0VN>fx-"
        "R##YAT4Q8oW@l(=YIAgTc6WGrdV+(5g@%WSiHeewl$Dm3n3<ZQqok##r>Lo_va__cwzs&sy28W6#m2|T$;#5x)Ya"
        "D4*xB0R<K*S$=jiF`^7Hid_V@Vt`v2Mh3<CiG0ucid06ze!MHE-z=k$U9*#"
    ),
    "PNG": (
        "iBL{Q4GJ0x0000DNk~Le0000G0000G2m$~A0FaSrHUIzs8c9S!RCwBBJdt9=Knh@DAQ6me7}YRzGyni%1_6G$PF1"
        "=90000<MNUMnLSTX"
    ),
    "WebP": (
        "Qb|TeJ^%m!S4BclR!}$~G5`Po&;bCQ0V)sx5C8zc5+$Glbh-if00Xc9{@N!0?(=@r*R=KhO#k@GpCCWuDu2by000"
    ),
    "TIFF": (
        "Nl7XIRsaA1fHDk&C=?P01%yH2P-tW(8w-a-Vi7oeRwWjSMdMMJ<YGM=kH=&ZITV&dCz47e(wStgT`HJMW-"
        "|Gd)@e7H&Sul8#O{4Ppid}KcnAsr009F40RR915C8xG0RaO50RR915C8xG0s#X60{{R3)Bpeg0|5g70RR911poj5"
        "1_1*A0RR910ssI25dj1M0RR912mk;86#)YP0RR910{{R376AhQ0RR915C8xG7XbtS0RR91P5=M^903CW0RR910RR"
        "91000002mlBG2mk"
    ),
    "BMP": (
        "LQQ4>00000001@s001Ze000C4000C4000317ytkO001xm006`e006`e0000000000001&%$TDQeGGxdyWXLjP$TD"
        "QeGGxdyWXLjP$TDQeGGxdyWXLjP$TDQeGGxdyWXJ"
    ),
    "DIB": (
        "C;$Ke1ONa41ONa40RR{P00000FaQ7m#0~%e#0~%e0000000000GGxdyWXLjP$TDQeGGxdyWXLjP$TDQeGGxdyWXL"
        "jP$TDQeGGxdyWXLjP$TDQe"
    ),
    "GIF": (
        "M@dFFH(?L}5CDMy0LWxA000000000004x9i000mG5CA|39RL9c97wRB!Gj1BDqP60p~Hs|BTAe|v7*I+0RaFz"
    ),
    "AVIF": (
        "0000WW^{RQVRmU|00000VRmU|ZE0pPZE0a<O+hh20002%ZDn*}000000000XXk=`10000000000aA{+700000000"
        "0000000000004sdC7Z2$lO000310016oY;R)#0000)000310RR910RR926951JDF6TfC~0YKW&i*H00031000_kZ"
        "f0cy000000RRADb}%tRZ)|UJ00000YH4tCZ~y=ROKEUpZvX%Q6lrsCWdHyG000005C8xG5C8xG5O8UDX#fBK00Rg"
        "J2mk;83}JRLLxBJc000006Ju{|a&BX6cmM$a4FCp!0000NX>e^}0000000001009I60)qqq001#<WMOm?0162h4F"
        "B37A)wHJG8z-dhlXVVh8TVj0000w+Slpzy37}^E<&9o"
    ),
    "JPEG 2000": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}0000G0000G00RdH0000001sntY;p"
        "kr000005C8xGt!i*GWB*V8Q2;Lh000005C8xG5C8xG00000000005C8xG5C8xG000000009A0RaaA0S5sA|55-"
        "90000100aaC00IA801!YxNJvmfNKi;fP)JBn|6~9q00BdCWnpw>WFTUBAWv{*Zc0!^M<8}(a&u{KZXhx)H7+#&kN"
        "^q*00000DF6Zglh3pW1W&`~1PO1?v<L>zfPjF2fPjF2fPjF2|Je"
    ),
    "HEIC": (
        "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004eZDn*}000000000XXk=`10000000000aA{+70000000000000"
        "0000000B57=IV*mgE07O6l0RRC200001pa1~?00000001@s001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F"
        "#rGn01j|zbZr0t000010002|X>f9I0002oX>en20001WXm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN"
        "^|NjGU00093kN^M!000939=ZZRVE_RDDMA4O18@KU0|1Z!00RI30{|YNAb|yz>aLpR;31&EfB*mtfB*mk0EA)y0R"
        "RR>0l{;@i2wiq6Ju{|a&BX6cmM$a4FCp!0000KX>)L8000000000$0000$0000eV{Bn?0000G000010000G00001"
        "|NsBc00002|NsBc000020000GaA|mH000000|*ER0000OX>e^}0000000001009Mo0s{qv0000!ZDe6|0000oC;_"
        "hqG8Shvi6HR1_5c6&HveV#1Cq^bp14QoW5?vTkddDBUwar*<vesC^qf<<&42"
    ),
}
"""Base 85, as Pillow and pillow-heif wrote them."""

_LIBRARIES = {
    "JPEG": "jpg",
    "PNG": "zlib",
    "WebP": "webp",
    "TIFF": "libtiff",
    "AVIF": "avif",
    "JPEG 2000": "jpg_2000",
}
"""What decodes a format, by the name that Pillow has for it, where it is not Pillow itself."""

_NEW_PILLOW = again("pillow")
_NEW_HEIF = again("pillow-heif")
NEW_ONNX_RUNTIME = again("onnxruntime", "onnx")


def file_of(name: str) -> bytes:
    """The file of a format: 16 x 16 or 4 x 4 pixels of COLOUR."""
    return base64.b85decode(_FILES[name])


def format_checks(area: str) -> list[Check]:
    """A check for each format: a decoder may end the process."""
    return [
        Check(
            area,
            name,
            "annotate.doctor.pictures:picture_format",
            name,
            to_do=_NEW_HEIF if name == "HEIC" else _NEW_PILLOW,
        )
        for name in _FILES
    ]


def picture_format(options: Options, name: str) -> Iterator[Finding]:
    """Decode the file of a format as a run does, and look at its colour."""
    from PIL import features

    from annotate.images import ImageError, decode

    if name == "HEIC" and find_spec("pillow_heif") is None:
        yield note("HEIC and HEIF pictures become `unsupported`", "pip install 'annotate[heif]'")
        return
    to_do = _NEW_HEIF if name == "HEIC" else _NEW_PILLOW
    try:
        picture = decode(file_of(name))
    except ImageError as error:
        yield fault(f"a good file is not decoded: {error}", to_do)
        return
    means = [round(float(mean)) for mean in picture.pixels.mean(axis=(0, 1))]
    if any(abs(mean - level) > TOLERANCE for mean, level in zip(means, COLOUR, strict=True)):
        yield fault(f"decodes a colour {COLOUR} to {tuple(means)}", to_do)
        return
    library = _LIBRARIES.get(name)
    version = None if library is None else features.version(library)
    yield ok(
        "decoded" + f" by {library} {version}" * bool(version), {"version": version}, brief=name
    )


def detector(options: Options, _: str) -> Iterator[Finding]:
    """Check the weights, build the networks, and find the one face of an installed portrait."""
    from annotate.demo import installed_photographs
    from annotate.face_networks import check_weights, load_networks
    from annotate.face_options import DETECTOR, FaceOptions
    from annotate.photographs import cut_faces

    try:
        check_weights()
    except AnnotateError as error:
        yield fault(one_line(error, 2000), again("mtcnn==1.0.0"))
        return
    load_networks()
    said = "the weights are those that are known, the networks load"
    yield ok(said, {"detector": DETECTOR})
    name, path = next(iter(reversed([*installed_photographs()])), (None, None))
    if path is None:
        yield note(
            "there is no portrait to find a face in",
            "pip install --force-reinstall matplotlib brings its sample data back",
            name="a portrait",
        )
        return
    faces = cut_faces(path.read_bytes(), 64, FaceOptions()).faces
    if len(faces) == 1:
        score = faces[0].score or 0.0
        said = f"finds the face in {name}, score {score:.2f}"
        yield ok(said, {"score": round(score, 4)}, name="a portrait")
    else:
        said = f"finds {len(faces)} faces in {one_line(name)}, which shows one"
        yield fault(said, NEW_ONNX_RUNTIME, name="a portrait")
