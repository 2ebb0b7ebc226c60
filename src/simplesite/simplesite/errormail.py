"""Mails about errors: sent in the background, so many an hour, the others in a summary."""

import logging
import smtplib
import threading
import time
from collections import Counter, deque
from email.message import EmailMessage

from pyramid.config import Configurator

from simplesite.settings import MailSettings

SMTP_TIMEOUT_SECONDS = 10
MOST_MAILS_AT_ONCE = 3
HOUR = 3600.0
MOST_KINDS = 50

log = logging.getLogger(__name__)


class ErrorMail:
    """Mail errors to the addresses of ``email_to``.

    Each process of a site has one.  In an hour it sends ``settings.most_per_hour`` mails, and
    then, when the hour is over, one with the subjects of the errors that came after them.
    """

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        # A site that fails on every request must not bury its own mail server.
        self._free = threading.BoundedSemaphore(MOST_MAILS_AT_ONCE)
        self._lock = threading.Lock()
        self._sent: deque[float] = deque(maxlen=settings.most_per_hour)
        self._left_out: Counter[str] = Counter()

    def send(self, subject: str, text: str) -> None:
        """Send a mail without waiting for it, or count it for the summary."""
        with self._lock:
            now = time.monotonic()
            is_one_too_many = len(self._sent) == self._sent.maxlen and now < self._sent[0] + HOUR
            if not is_one_too_many and self._free.acquire(blocking=False):
                self._sent.append(now)
                self._start(self._message(subject, text))
                return
            if not self._left_out:
                self._summarize_after(max(self._sent[0] + HOUR - now, 0))
            has_room = len(self._left_out) < MOST_KINDS or subject in self._left_out
            self._left_out[subject if has_room else "others"] += 1
        log.warning("No mail about an error: it will be in the next summary")

    def _summarize_after(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._send_summary)
        timer.daemon = True
        timer.start()

    def _send_summary(self) -> None:
        with self._lock:
            counts, self._left_out = self._left_out, Counter()
        lines = [f"{count:7}  {subject}" for subject, count in counts.most_common()]
        text = "In the last hour there were also these. The log has each.\n\n"
        text += "\n".join(lines) + "\n"
        first = next(iter(counts)).partition(":")[0]
        self._free.acquire()
        self._start(self._message(f"{first}: {counts.total()} more errors", text))

    def _message(self, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = self._settings.sender
        message["To"] = ", ".join(self._settings.recipients)
        message.set_content(text)
        return message

    def _start(self, message: EmailMessage) -> None:
        threading.Thread(target=self._deliver, args=(message,), daemon=True).start()

    def _deliver(self, message: EmailMessage) -> None:
        host, port = self._settings.host, self._settings.port
        try:
            with smtplib.SMTP(host, port, timeout=SMTP_TIMEOUT_SECONDS) as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            log.warning("No mail about an error: %s port %d: %s", host, port, error)
        finally:
            self._free.release()


def include(config: Configurator, settings: MailSettings | None) -> None:
    """Let the views of errors find the mail, when there is somebody to write to."""
    config.registry["error_mail"] = ErrorMail(settings) if settings else None
