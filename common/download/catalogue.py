"""Where the data of each competition comes from: addresses, hashes, licences, citations, and what asks for a login.

A SHA-256 stands here only where somebody has recorded the publisher's file: those of NSMC are in the dataset_infos.json
that huggingface/datasets kept of it. The MD5s of FER2013 are torchvision's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.download.fer2013 import write_images

NSMC = "https://raw.githubusercontent.com/e9t/nsmc/master"
KLUE = "https://raw.githubusercontent.com/KLUE-benchmark/KLUE/main/klue_benchmark/klue-re-v1.1"
FER2013 = "challenges-in-representation-learning-facial-expression-recognition-challenge"


@dataclass(frozen=True)
class Download:
    """A file that anyone gets. sha256: None where nobody has recorded it; then the first download's is kept."""

    name: str
    url: str
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """What one publisher has for a task.

    files: option of train.py -> name of the file or folder in data/. page: where a person gets it. downloads: those of
    the files that need no login; none: all do. accept: what the page asks for. beside: names that train.py reads
    without an option. packed: names that the page's archives have in place of these. competition: Kaggle's name, whose
    kaggle_files are fetched where there is a key. prepare: folder -> files, once the packed ones lie in it. put: what a
    person does with what the page gives, where that is more than to put it into {folder}.
    """

    title: str
    page: str
    licence: str
    citation: str
    files: dict[str, str]
    downloads: tuple[Download, ...] = ()
    accept: str = ""
    beside: tuple[str, ...] = ()
    packed: tuple[str, ...] = ()
    competition: str | None = None
    kaggle_files: tuple[str, ...] = ()
    prepare: Callable[[Path], None] | None = None
    put: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What train.py reads, the file without which there is nothing to do first."""
        return (*self.files.values(), *self.beside)

    def is_there(self, folder: Path) -> bool:
        """Whether the first of the names is in a folder; of what is prepared, also what it was prepared from."""
        packed = not self.packed or any((folder / name).exists() for name in self.packed)
        return packed and (folder / self.names[0]).exists()


SOURCES = {
    "nsmc": (
        Source(
            title="NSMC, Naver sentiment movie corpus",
            page="https://github.com/e9t/nsmc",
            licence="CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/)",
            citation="Lucy Park (2016). Naver Sentiment Movie Corpus. https://github.com/e9t/nsmc",
            files={"train_file": "ratings_train.txt", "eval_file": "ratings_test.txt"},
            downloads=(
                Download(  # md5 45009b9a91ce7d7949e328788ef30829
                    "ratings_train.txt",
                    f"{NSMC}/ratings_train.txt",
                    "e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940",
                ),
                Download(
                    "ratings_test.txt",
                    f"{NSMC}/ratings_test.txt",
                    "8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda",
                ),
            ),
        ),
        Source(
            title="Kaggle class competition korean-sa (only to submit)",
            page="https://www.kaggle.com/c/korean-sa-competition-dfe610/data",
            licence="none stated; the competition's rules",
            citation="https://www.kaggle.com/c/korean-sa-competition-dfe610",
            files={"test_file": "ko_data.csv", "sample_submission_file": "ko_sample.csv"},
            accept="a Kaggle account that is in the class, and the competition's rules",
            competition="korean-sa-competition-dfe610",
            kaggle_files=("ko_data.csv", "ko_sample.csv"),
        ),
    ),
    "friends": (
        Source(
            title="EmotionLines, 'Friends'",
            page="http://doraemon.iis.sinica.edu.tw/emotionlines/download.html",
            licence="none stated; for research",
            citation=(
                "Hsu, Chen, Kuo, Huang & Ku (2018). EmotionLines: An Emotion Corpus of Multi-Party Conversations. "
                "LREC. https://aclanthology.org/L18-1252/"
            ),
            files={"train_file": "friends_train.json", "eval_file": "friends_dev.json"},
            accept="its conditions, research only (Academia Sinica)",
        ),
        Source(
            title="Kaggle class competition english-sa (only to submit)",
            page="https://www.kaggle.com/c/english-sa-competition-dfe610/data",
            licence="none stated; the competition's rules",
            citation="https://www.kaggle.com/c/english-sa-competition-dfe610",
            files={"test_file": "en_data.csv", "sample_submission_file": "sample_submission_friends_final.csv"},
            accept="a Kaggle account that is in the class, and the competition's rules",
            competition="english-sa-competition-dfe610",
            kaggle_files=("en_data.csv",),
        ),
    ),
    "klue_re": (
        Source(
            title="KLUE-RE 1.1 (30 labels)",
            page="https://github.com/KLUE-benchmark/KLUE",
            licence="CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)",
            citation=(
                "Park, Moon, Kim, Cho et al. (2021). KLUE: Korean Language Understanding Evaluation. "
                "https://arxiv.org/abs/2105.09680"
            ),
            files={
                "train_file": "klue-re-v1.1_train.json",
                "eval_file": "klue-re-v1.1_dev.json",
                "label_file": "relation_list.json",
            },
            downloads=tuple(
                Download(name, f"{KLUE}/{name}")
                for name in ("klue-re-v1.1_train.json", "klue-re-v1.1_dev.json", "relation_list.json")
            ),
        ),
        Source(
            title="boostcamp AI Tech, p-stage 2 (42 labels; read in place of KLUE-RE where it is there)",
            page="http://boostcamp.stages.ai/competitions/4/overview/description",
            licence="none stated; for the participants of the course",
            citation="boostcamp AI Tech (2021). P-stage 2: relation extraction between entities of a sentence",
            files={
                "train_file": "train.tsv",
                "test_file": "test.tsv",
                "sample_submission_file": "sample_submission.csv",
            },
            accept="a participant's login, and the competition's rules",
        ),
    ),
    "hand_signal": (
        Source(
            title="Dacon 235806, 교통 수신호 동작 인식",
            page="https://dacon.io/competitions/official/235806/data",
            licence="the competition's rules",
            citation="Dacon (2021). 교통 수(手)신호 동작 인식 AI 경진대회. https://dacon.io/competitions/official/235806",
            files={"train_file": "train", "test_file": "test", "sample_submission_file": "sample_submission.csv"},
            beside=("action_information.csv",),
            accept="a Dacon account, to take part, and the rules on the use of the data",
        ),
    ),
    "reon_face": (
        Source(
            title="FER2013",
            page=f"https://www.kaggle.com/c/{FER2013}/data",
            licence="none stated; the challenge's rules",
            citation=(
                "Goodfellow, Erhan, Carrier, Courville et al. (2013). Challenges in Representation Learning: A report "
                "on three machine learning contests. https://arxiv.org/abs/1307.0414"
            ),
            files={"train_file": "train", "eval_file": "eval", "test_file": "test"},
            accept="a Kaggle account, and the challenge's rules (Late Submission)",
            packed=("icml_face_data.csv", "fer2013.csv"),
            competition=FER2013,
            kaggle_files=("icml_face_data.csv",),
            prepare=write_images,
        ),
        Source(
            title="AI-Hub, 한국인 감정인식을 위한 복합 영상 (in place of FER2013)",
            page="https://aihub.or.kr/aihubdata/data/view.do?dataSetSn=82",
            licence="AI-Hub's terms",
            citation="KAIST. 한국인 감정인식을 위한 복합 영상. AI-Hub. https://aihub.or.kr/aihubdata/data/view.do?dataSetSn=82",
            files={"train_file": "train", "eval_file": "eval"},
            accept="an AI-Hub account, its terms, and an application for the data",
            put="unpack its archives [원천]EMOIMG_*_TRAIN_* into {folder}/train and *_VALID_* into {folder}/eval",
        ),
    ),
}
