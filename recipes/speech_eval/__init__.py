"""`echoic tts eval`: a talker judged by what it says when nobody corrects it, never by a loss."""
