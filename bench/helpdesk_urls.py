"""The addresses of the measured helpdesk, which its letters name."""

from django.urls import include, path

urlpatterns = [path("", include("helpdesk.urls", namespace="helpdesk"))]
