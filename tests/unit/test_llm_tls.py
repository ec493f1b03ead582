import ssl

from app.llm.tls import trusted_certificates


def test_clients_share_the_certificates_and_check_who_answers() -> None:
    context = trusted_certificates()

    assert trusted_certificates() is context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
