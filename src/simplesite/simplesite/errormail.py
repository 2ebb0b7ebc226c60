"""Mails about errors: sent in the background, so that no request waits for them."""

import logging
import smtplib
import threading
from email.message import EmailMessage

from pyramid.config import Configurator

from simplesite.settings import MailSettings

SMTP_TIMEOUT_SECONDS = 10
MOST_MAILS_AT_ONCE = 3

log = logging.getLogger(__name__)


class ErrorMail:
    """Mail errors to the addresses of ``email_to``."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        # A site that fails on every request must not bury its own mail server.
        self._free = threading.BoundedSemaphore(MOST_MAILS_AT_ONCE)

    def send(self, subject: str, text: str) -> None:
        """Send a mail without waiting for it; leave it when too many are on their way."""
        if not self._free.acquire(blocking=False):
            log.warning("No mail about an error: %d are on their way", MOST_MAILS_AT_ONCE)
            return
        message = self._message(subject, text)
        threading.Thread(target=self._deliver, args=(message,), daemon=True).start()

    def _message(self, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = self._settings.sender
        message["To"] = ", ".join(self._settings.recipients)
        message.set_content(text)
        return message

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
